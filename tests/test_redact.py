"""What redaction removes, what it leaves, and that it takes no longer than it should."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml_hooks.redact import MASK, redact, redact_command, shown_command

S = "Hunter2x"

SECRETS = (
    f"https://ada:{S}@github.com/o/r",
    f"https://{S}@github.com/o/r",
    f"https://x-access-token:{S}@github.com/o/r.git",
    f"https://ada%40corp:{S}%2f@host.org/r",
    f"https://ada:p@{S}@host.org/r",
    f"https://ada:a/{S}@host.org/r",
    f"https://ada:a#{S}@host.org/r",
    f"https://ada:a?{S}@host.org/r",
    f"https://ada:p@a/{S}@host.org/r",
    f"https://ada:12/{S}@host.org/r",
    f"https://ada:12?{S}@host.org:8443/r",
    f"https://to/{S}@github.com/o/r",
    f"https://ada:a/{S}@localhost/r",
    f"ssh://ada:{S}@[::1]:22/r",
    f"git+https://oauth2:{S}@gitlab.com/o/r@v1",
    f"https://h1.org/x,https://ada:{S}@h2.org/y",
    f"fatal: unable to access 'https://ada:{S}@host.org/r/': 403",
    f"ada:{S}@github.com:o/r.git",
    f"ada:{S}@github.com/o/r.git",
    f"--url=ada:a/{S}@github.com:o/r.git",
    f"https://host.org/r?private_token={S}",
    f"https://host.org/r?a=1&access_token={S}&b=2",
    f"https://host.org/r#token={S}",
    f"https://host.org/r;api_key={S}",
    f"--token={S}",
    f"--api-key={S}",
    f"++trainer.wandb.api_key={S}",
    f"wandb_api_key={S}",
    f"HF_TOKEN={S} python x.py",
    f"sh -c 'PASSWORD={S} ./x'",
    f'password="{S} and more"',
    f"password='{S} and more'",
    f'password="{S}',
    f"(token={S})",
    f"train.py --token {S} --epochs 3",
    f"train.py --api-key '{S} x'",
    f"--db-passwd={S}",
    f"AWS_SECRET={S}",
    f"client_secret={S}",
    f"Authorization: Bearer {S}",
    f"Authorization: Basic {S}",
    f"authorization: token {S}",
    f"Authorization: {S}",
    f'{{"authorization": "Bearer {S}"}}',
    f"curl -H 'PRIVATE-TOKEN: {S}'",
    f"X-Api-Key: {S}",
    f'{{"api_key": "{S}"}}',
    f"bearer {S}123",
    f"ghp_{S}0123456789abcdef",
    f"github_pat_{S}0123456789abcdef",
    f"glpat-{S}0123456789abcdef",
    f"hf_{S}0123456789abcdef",
    f"sk-{S}0123456789abcdef",
    f"xoxb-{S}0123456789abcdef",
    f"eyJ{S}0123456.{S}abcdefgh.sig",
    f"papermill -p token {S} x.ipynb",
    f"papermill --parameters api_key {S}",
    f"papermill -r password '{S} x'",
    f"--parameters_raw my_secret {S}",
    f"PGPASSWORD={S} psql",
    f"MYSQL_PWD={S}",
    f"GITHUBTOKEN={S}",
    f"--passphrase {S}",
    f"--private-key {S}",
    f"--pw {S}",
    f"--pass {S}",
    f"PASS={S}",
    f"--auth me:{S}",
    f"curl -u user:{S} https://host.org",
    f"--user user:{S}",
    f"--user=me:{S}",
    f"--proxy-user me:{S}",
    f"sshpass -p {S} ssh host",
    f"sshpass -p{S} ssh host",
    f"mysql -h db -p{S} base",
    f"https://host.org/x?sig={S}",
    f"https://host.org/x?a=1&X-Amz-Signature={S}",
    f"https://host.org/x?X-Amz-Credential={S}/us",
    f"X-Amz-Signature={S}",
    f"AccountName=a;AccountKey={S}==",
    f"Endpoint=sb:x;SharedAccessKey={S}",
    f"client_secret:{S}",
    f"TOKEN: {S}",
    "token: " + S,
    f"with passphrase={S}",
    f'{{"token": {S}}}',
    f'{{"token": {S}, "a": 1}}',
    f"--token -{S}",
)


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_removed(text: str) -> None:
    for around in (text, f"before {text} after", f"'{text}'", f"one\n{text}\ntwo"):
        shown = redact(around)
        assert S not in shown
        assert MASK in shown


@pytest.mark.parametrize("text", SECRETS)
def test_removing_twice_changes_nothing_more(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "--tokenizer bert",
        "--tokenizer=bert",
        "--max-tokens 100",
        "--use-token --verbose",
        "--max-tokens=100",
        "max_tokens=100",
        "https://host.org/path@v1",
        "https://host.org:8443/path@v1.2.0",
        "git+https://github.com/o/r@v1.0.0#sub",
        "https://registry.org/@scope/package",
        "git@github.com:o/r",
        "git@github.com:o/r.git",
        "host:path/to@thing",
        "mailto:ada@example.org",
        "Ada <ada@example.org>",
        "python:3.11@sha256:0123456789abcdef",
        "/home/pwd/secret/token/x.py",
        "src/password.py",
        "secret.txt: not a file of the commit",
        "token: no such setting",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "basic training run",
        "bearer instruments",
        "learning_rate=0.1",
        "--passes=3",
        "tokens=5",
        "--author=ada@example.org",
        "TOKEN=$TOKEN",
        "--max-token 5",
        "--max-token=5",
        "pad_token=0",
        "eos_token=2",
        "--bos_token '<s>'",
        "--unk-token [UNK]",
        "tokenizer.pad_token='<pad>'",
        "my_token=<mine>",
        "num_tokens=5",
        "token_dim=5",
        "--token-dim 5",
        '{"pad_token": 0, "eos_token": "</s>"}',
        '{"token": null}',
        "eos_token: 2",
        "-p max_token 5",
        "key=value",
        "--sort-key name",
        "monkey=1",
        "compass=3",
        "--user ada",
        "docker run -u 1000:1000 image",
        "ssh -p 22 host",
        "mysql --port 3306",
        "--use-token -v",
        "a:b@c",
        "x=1&y=2",
        "12:30",
        "C:\\Users\\ada",
        "file:///srv/git/r.git",
        "",
    ],
)
def test_innocent_words_stay(text: str) -> None:
    assert redact(text) == text


def test_what_is_not_secret_of_a_url_stays() -> None:
    assert redact(f"https://ada:{S}@host.org:8443/o/r.git") == f"https://{MASK}@host.org:8443/o/r.git"
    assert redact(f"x?token={S}&page=2") == f"x?token={MASK}&page=2"


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["x", "--token", S, "y"], ["x", "--token", MASK, "y"]),
        (["x", "--api-key", S], ["x", "--api-key", MASK]),
        (["x", "-password", S], ["x", "-password", MASK]),
        (["x", "--hf_token", S], ["x", "--hf_token", MASK]),
        (["x", f"--token={S}", "y"], ["x", f"--token={MASK}", "y"]),
        (["x", "--use-token", "--verbose"], ["x", "--use-token", "--verbose"]),
        (["x", "--tokenizer", "bert"], ["x", "--tokenizer", "bert"]),
        (["x", "--max-tokens", "100"], ["x", "--max-tokens", "100"]),
        (["cat", "token", "file"], ["cat", "token", "file"]),
        (["git", "clone", f"https://{S}@h.org/r"], ["git", "clone", f"https://{MASK}@h.org/r"]),
        (["x", "--token", f"-{S}", "y"], ["x", "--token", MASK, "y"]),
        (["x", "--use-token", "-v"], ["x", "--use-token", "-v"]),
        (["x", "-p", "token", S, "y"], ["x", "-p", "token", MASK, "y"]),
        (["x", "--parameters", "api_key", S], ["x", "--parameters", "api_key", MASK]),
        (["x", "-r", "password", S], ["x", "-r", "password", MASK]),
        (["x", "-p", "pad_token", "0"], ["x", "-p", "pad_token", "0"]),
        (["x", "-p", "lr", "0.1"], ["x", "-p", "lr", "0.1"]),
        (["x", "--bos_token", "<s>"], ["x", "--bos_token", "<s>"]),
        (["x", "--max-token", "5"], ["x", "--max-token", "5"]),
        (["x", "--pass", S, "y"], ["x", "--pass", MASK, "y"]),
        (["curl", "-u", f"ada:{S}"], ["curl", "-u", f"ada:{MASK}"]),
        (["curl", "--user", f"ada:{S} x"], ["curl", "--user", f"ada:{MASK}"]),
        (["curl", f"--user=ada:a {S}"], ["curl", f"--user=ada:{MASK}"]),
        (["curl", "--user=ada"], ["curl", "--user=ada"]),
        (["x", f"--password=a {S}"], ["x", f"--password={MASK}"]),
        (["x", "--password=$P", "--eos_token=2"], ["x", "--password=$P", "--eos_token=2"]),
        (["docker", "-u", "1000:1000"], ["docker", "-u", "1000:1000"]),
        (["sshpass", "-p", S, "ssh", "-p", "22"], ["sshpass", "-p", MASK, "ssh", "-p", "22"]),
        (["sshpass", f"-p{S}", "ssh", "-p22"], ["sshpass", f"-p{MASK}", "ssh", "-p22"]),
        (["/usr/bin/mysql", "-h", "x", f"-p{S}", "db"], ["/usr/bin/mysql", "-h", "x", f"-p{MASK}", "db"]),
        (["x", f"-p{S}"], ["x", f"-p{S}"]),
        ([], []),
    ],
)
def test_a_command_line_loses_its_secrets_and_nothing_else(argv: list[str], shown: list[str]) -> None:
    assert redact_command(argv) == shown


_PIECES = (
    "https:// :// @ : / ? # & = ' \" - -- token secret= password api_key Authorization *** ada x1"
    " github.com . , --user sig { } pad_ <s> 5 key host.org/ 8080 $ ghp_0123456789abcdef ( + _ %40"
)
_SPACED = (" ", "\n", "Bearer ", "basic ", "-p ", "-u ", "mysql ", "sshpass ", ": ", "X-Api-Key: ")
PIECES = st.sampled_from([*_PIECES.split(), *_SPACED])


@given(st.lists(PIECES, max_size=14).map("".join))
def test_redacting_any_text_twice_is_redacting_it_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@given(st.text())
def test_any_text_at_all_can_be_redacted(text: str) -> None:
    assert redact(redact(text)) == redact(text)


_REPEATED = (
    "a - -a :// ://a:b ://a:b@ a:= token= token=' token=\" ?token ? a. @a. @a ://x@a.b authorization"
    " bearer x- 'token' eyJ ghp_ sk- _ ://a:1/ a:b a:b@ -token a-key '' eyJaaaaaaaa. token: --user=a"
    " accesskey 'token': tokentoken-"
)
REPEATED = (
    *_REPEATED.split(),
    *("authorization ", "bearer ", "'token' ", " a:b@c", " \n", "x-key: ", "token: ", "pass ", "-p token "),
    *("-u a:", "mysql ", "mysql -", "sshpass -p", "sshpass "),
)


@pytest.mark.parametrize("piece", REPEATED)
def test_time_grows_no_faster_than_the_text(piece: str) -> None:
    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        started = time.process_time()
        redact(text)
        return time.process_time() - started

    small = min(seconds(8_000) for _ in range(3))
    # Eight times the text: eight times as long, where quadratic would be 64 times.
    assert seconds(64_000) < 24 * small + 0.05


def test_what_is_said_after_a_header_stays() -> None:
    assert redact("You sent: Cookie: webauthn=planted1; b=c (HTTP 409)") == "You sent: Cookie: *** (HTTP 409)"
    digest = 'Authorization: Digest username="ada", response="planted1", uri=/ (HTTP 401)'
    assert redact(digest) == "Authorization: *** (HTTP 401)"
    signed = (
        "Authorization: AWS4-HMAC-SHA256 Credential=AKIA/a, SignedHeaders=host, Signature=planted1 was sent"
    )
    assert redact(signed) == "Authorization: *** was sent"


def test_a_command_is_shown_in_one_line_with_the_marks_as_they_are() -> None:
    words = [
        "x",
        "--token",
        "planted1",
        "--url=https://ada:planted1@example.org/x",
        "a b",
        "*",
        "--password=planted1 c",
    ]
    assert shown_command(words) == "x --token *** --url=https://***@example.org/x 'a b' '*' --password=***"
