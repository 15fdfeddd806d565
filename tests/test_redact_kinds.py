# ruff: noqa: E501 - one line for each form
"""Secrets by their own form and by name: of each kind one that is removed, and one like it that stays."""

from __future__ import annotations

import shlex

import pytest

from deriva_ml_hooks.redact import MASK, redact, redact_command

MIXED = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4y5Z6" * 4
HEX = "0a1b2c3d4e5f60718293a4b5c6d7e8f9" * 5
UPPER = "A2B3C4D5E6F7G2H3" * 4
DIGITS = "1234567890" * 3


def m(count: int) -> str:
    return MIXED[:count]


# kind: a prefix, what follows it (apart, so that nobody's scanner takes this file for a leak), what stays
KINDS: dict[str, tuple[str, str, str]] = {
    "GitHub, personal": ("ghp_", m(36), "ghp_ is a prefix"),
    "GitHub, OAuth": ("gho_", m(36), "gho_st"),
    "GitHub, user of an app": ("ghu_", m(36), "ghu_x"),
    "GitHub, server": ("ghs_", m(36), "ghs_short"),
    "GitHub, refresh": ("ghr_", m(36), "ghr_"),
    "GitHub, fine-grained": ("github_pat_", m(82), "github_pat_ern"),
    "GitLab, personal": ("glpat-", m(20), "glpat-tern"),
    "GitLab, routable": ("glpat-", m(27) + ".01." + m(9), "glpat.x"),
    "GitLab, runner": ("glrt-", m(20), "glrt-x"),
    "GitLab, deploy": ("gldt-", m(20), "gldt-x"),
    "GitLab, job": ("glcbt-", m(24), "glcbt-x"),
    "GitLab, trigger": ("glptt-", HEX[:40], "glptt-x"),
    "Bitbucket": ("ATBB", m(32), "ATBB x"),
    "Atlassian": ("ATATT3", m(60), "ATATT3"),
    "Hugging Face": ("hf_", "abcdefghijABCDEFGHIJabcdefghijABCD", "src/hf_finetunelanguagemodel.py"),
    "Hugging Face, organization": ("api_org_", m(34), "api_org_name"),
    "OpenAI": ("sk-", m(48), "sk-learn-contrib-extra-things"),
    "OpenAI, project": ("sk-proj-", m(60), "task-proj-" + "things-of-a-task"),
    "Anthropic": ("sk-ant-api03-", m(60), "sk-ant"),
    "OpenRouter": ("sk-or-v1-", HEX[:64], "disk-or-v1-things-of-a-disk"),
    "Groq": ("gsk_", m(52), "gsk_x"),
    "xAI": ("xai-", m(60), "xai-methods-for-counterfactuals-2024.py"),
    "Perplexity": ("pplx-", m(48), "pplx-x"),
    "LangSmith": ("lsv2_pt_", HEX[:32] + "_" + HEX[:10], "lsv2_pt"),
    "Pinecone": ("pcsk_", m(60), "pcsk_x"),
    "NVIDIA": ("nvapi-", m(64), "nvapi-docs"),
    "Replicate": ("r8_", m(37), "r8_models_of_the_first_kind"),
    "Weights & Biases": ("wandb_v1_", m(60), "wandb_v1_x"),
    "Kaggle": ("KGAT_", HEX[:32], "KGAT_x"),
    "AWS, key id": ("AKIA", UPPER[:16], "AKIA of Norway"),
    "AWS, temporary": ("ASIA", UPPER[:16], "ASIA PACIFIC"),
    "AWS, bearer": ("ABIA", UPPER[:16], "FABIAN"),
    "Google, API": ("AIza", m(35), "AIzax"),
    "Google, OAuth": ("ya29.", m(60), "ya29.x"),
    "Google, client": ("GOCSPX-", m(28), "GOCSPX-x"),
    "Google, refresh": ("1//0", m(40), "1//0 and 1//2"),
    "Microsoft Entra": ("abc8", "Q~" + m(34), "abc8Q~short"),
    "Alibaba": ("LTAI", m(20), "LTAI x"),
    "DigitalOcean": ("dop_v1_", HEX[:64], "dop_v1_x"),
    "DigitalOcean, OAuth": ("doo_v1_", HEX[:64], "doo_v1_x"),
    "Databricks": ("dapi", HEX[:32], "dapix-service"),
    "Heroku": ("HRKU-", m(60), "HRKU-x"),
    "Fly": ("FlyV1 fm2_".replace(" fm2_", ""), m(40), "FlyV1"),
    "PlanetScale": ("pscale_tkn_", m(43), "pscale_tkn_x"),
    "Supabase": ("sbp_", HEX[:40], "sbp_x"),
    "Netlify": ("nfp_", m(40), "nfp_x"),
    "PyPI": ("pypi-AgEIcHlwaS5vcmc", m(60), "pypi-attestations-are-signed-things"),
    "npm": ("npm_", m(36), "npm_config_registry_of_2024"),
    "Docker Hub": ("dckr_pat_", m(27), "dckr_pat_x"),
    "RubyGems": ("rubygems_", HEX[:48], "rubygems_x"),
    "HCP Terraform": (m(14), ".atlasv1." + m(60), "x.atlasv1.y"),
    "Pulumi": ("pul-", HEX[:40], "pul-over"),
    "Vault": ("hvs.", m(24), "hvs.x"),
    "Vault, batch": ("hvb.", m(60), "hvb.x"),
    "Doppler": ("dp.pt.", m(43), "dp.pt.x"),
    "CircleCI": ("CCIPAT_", m(40), "CCIPAT_x"),
    "SonarQube": ("squ_", HEX[:40], "squ_x"),
    "Sentry": ("sntrys_", m(60), "sntrys_x"),
    "Artifactory": ("AKCp", m(69), "AKCp8"),
    "Slack, bot": ("xoxb-", "1234567890-" + m(24), "xoxb-x"),
    "Slack, app": ("xapp-", "1-A012-" + m(40), "xapp-x"),
    "Slack, webhook": ("https://hooks.slack.com/services/", "T0123/B0123/" + m(24), "https://hooks.slack.com/services/"),
    "Discord, webhook": ("https://discord.com/api/webhooks/", DIGITS[:18] + "/" + m(60), "https://discord.com/api/webhooks/"),
    "Discord, bot": ("M" + m(23), "." + m(6) + "." + m(30), "Module.name.that_is_just_a_long_name_of"),
    "Telegram": (DIGITS[:9], ":AA" + m(33), "12345678:AAx"),
    "Teams, webhook": ("https://x.webhook.office.com/webhookb2/", HEX[:32] + "@" + HEX[:32], "https://x.webhook.office.com/"),
    "Stripe, live": ("sk_live_", m(24), "sk_live_x"),
    "Stripe, restricted": ("rk_live_", m(24), "rk_live_x"),
    "Stripe, webhook": ("whsec_", m(32), "whsec_x"),
    "Shopify": ("shpat_", HEX[:32], "shpat_x"),
    "Square": ("sq0atp-", m(22), "sq0atp-x"),
    "SendGrid": ("SG.", m(22) + "." + m(43), "SG.x.y"),
    "Mailgun": ("key-", HEX[:32], "key-value-pairs-of-a-configuration-file"),
    "Mailchimp": (HEX[:32], "-us12", HEX[:32]),
    "Brevo": ("xkeysib-", HEX[:64], "xkeysib-x"),
    "Twilio": ("SK", HEX[:32], "SKETCH"),
    "Linear": ("lin_api_", m(40), "lin_api_x"),
    "Notion": ("ntn_", m(46), "ntn_x"),
    "Notion, old": ("secret_", m(43), "secret_of_success"),
    "Airtable": ("pat" + m(14), "." + HEX[:64], "pattern.matching"),
    "Postman": ("PMAK-", HEX[:24] + "-" + HEX[:34], "PMAK-x"),
    "Figma": ("figd_", m(40), "figd_x"),
    "New Relic": ("NRAK-", UPPER[:27], "NRAK-x"),
    "Grafana": ("glsa_", m(32) + "_" + HEX[:8], "glsa_x"),
    "Dynatrace": ("dt0c01.", UPPER[:24] + "." + UPPER[:64], "dt0c01.x"),
    "Prefect": ("pnu_", m(36), "pnu_x"),
    "age": ("AGE-SECRET-KEY-1", UPPER[:58], "AGE-SECRET-KEY"),
    "a JSON web token": ("eyJhbGciOi", m(20) + "." + m(40) + "." + m(30), "eyJhbGc"),
    "Neptune": ("eyJhcGlfYWRkcmVzcyI6", m(80), "eyJhcGlf"),
    "a private key": ("-----BEGIN RSA PRIVATE KEY-----\n", m(64) + "\n-----END RSA PRIVATE KEY-----", "-----BEGIN CERTIFICATE-----"),
    "a private key in JSON": ("-----BEGIN PRIVATE KEY-----\\n", m(64) + "\\n-----END PRIVATE KEY-----", "PRIVATE KEY of a house"),
    "a private key cut off": ("-----BEGIN OPENSSH PRIVATE KEY-----\n", m(64), "-----BEGIN PUBLIC KEY-----"),
}  # fmt: skip


def test_there_are_enough_kinds() -> None:
    assert len(KINDS) >= 50


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_is_known_by_its_own_form(kind: str) -> None:
    prefix, rest, stays = KINDS[kind]
    secret = prefix + rest
    for before, after in (("", ""), ("see ", " there"), ("x=", ""), ("'", "'"), ("(", ")"), ("branch/", "")):
        shown = redact(f"{before}{secret}{after}")
        assert rest[:14] not in shown
        assert MASK in shown
        assert shown.endswith(after)
        assert shown.startswith(before)
        assert redact_command(["x", f"{before}{secret}{after}", "y"])[::2] == ["x", "y"]
    assert redact(stays) == stays
    assert redact_command([stays]) == [stays]


S = "Hunter2x4711"
# A command line with a secret in the place of §: what is left of it
FORMS: dict[str, str] = {
    "--password §": "--password *",
    "--password=§": "--password=*",
    "--passwd § -v": "--passwd * -v",
    "--pass §": "--pass *",
    "--pw §": "--pw *",
    "--pwd §": "--pwd *",
    "--passphrase §": "--passphrase *",
    "--passcode §": "--passcode *",
    "--db-password §": "--db-password *",
    "--password2 §": "--password2 *",
    "--http-password=§": "--http-password=*",
    "--token § --epochs 3": "--token * --epochs 3",
    "--token=§ --epochs 3": "--token=* --epochs 3",
    "--hf_token §": "--hf_token *",
    "--accessToken §": "--accessToken *",
    "--access-token §": "--access-token *",
    "--api-token §": "--api-token *",
    "--auth-token §": "--auth-token *",
    "--session-token §": "--session-token *",
    "--tokens §": "--tokens *",
    "--pat §": "--pat *",
    "--pat=§": "--pat=*",
    "--jwt §": "--jwt *",
    "--bearer §": "--bearer *",
    "--oauth2-bearer §": "--oauth2-bearer *",
    "--otp 123456§": "--otp *",
    "--psk §": "--psk *",
    "--api-key § -p x": "--api-key * -p x",
    "--api-key=§ -p x": "--api-key=* -p x",
    "--apikey §": "--apikey *",
    "--apiKey=§": "--apiKey=*",
    "--access-key §": "--access-key *",
    "--secret-key §": "--secret-key *",
    "--secret-access-key §": "--secret-access-key *",
    "--private-key §": "--private-key *",
    "--account-key §": "--account-key *",
    "--signing-key §": "--signing-key *",
    "--license-key §": "--license-key *",
    "--master-key §": "--master-key *",
    "--key §": "--key *",
    "--wandb-key §": "--wandb-key *",
    "--secret §": "--secret *",
    "--client-secret §": "--client-secret *",
    "--secret-id §": "--secret-id *",
    "--credentials §": "--credentials *",
    "--auth §": "--auth *",
    "--auth me:§": "--auth me:*",
    "--cookie §": "--cookie *",
    "--cookie session=§": "--cookie *",
    "--connection-string §": "--connection-string *",
    "--sas-token §": "--sas-token *",
    "--sid §": "--sid *",
    "HF_TOKEN=§ python x.py": "HF_TOKEN=* python x.py",
    "OPENAI_KEY=§ python x.py": "OPENAI_KEY=* python x.py",
    "WANDB_API_KEY=§": "WANDB_API_KEY=*",
    "COMET_KEY=§": "COMET_KEY=*",
    "AWS_SECRET_ACCESS_KEY=§": "AWS_SECRET_ACCESS_KEY=*",
    "AWS_SESSION_TOKEN=§": "AWS_SESSION_TOKEN=*",
    "PGPASSWORD=§ psql": "PGPASSWORD=* psql",
    "MYSQL_PWD=§": "MYSQL_PWD=*",
    "DB_PASS=§": "DB_PASS=*",
    "DBPASS=§": "DBPASS=*",
    "RESTIC_PASSWORD=§ restic": "RESTIC_PASSWORD=* restic",
    "GH_PAT=§ gh": "GH_PAT=* gh",
    "env TOKEN=§ x": "env TOKEN=* x",
    "export SECRET=§": "export SECRET=*",
    "setenv HF_TOKEN §": "setenv HF_TOKEN *",
    "docker run -e TOKEN=§ image": "docker run -e TOKEN=* image",
    "docker run --env=TOKEN=§ image": "docker run --env=TOKEN=* image",
    "docker build --build-arg TOKEN=§ .": "docker build --build-arg TOKEN=* .",
    "docker login -u ada -p § ghcr.io": "docker login -u ada -p * ghcr.io",
    "helm install x --set db.password=§": "helm install x --set db.password=*",
    "helm install x --set=db.password=§": "helm install x --set=db.password=*",
    "python x.py trainer.token=§": "python x.py trainer.token=*",
    "python x.py ++a.api_key=§ b=2": "python x.py ++a.api_key=* b=2",
    "java -Ddb.password=§ -jar x.jar": "java -Ddb.password=* -jar x.jar",
    "papermill -p token § in.ipynb": "papermill -p token * in.ipynb",
    "papermill -r password § in.ipynb": "papermill -r password * in.ipynb",
    "papermill --parameters api_key §": "papermill --parameters api_key *",
    "curl -u u:§ https://h.org": "curl -u u:* https://h.org",
    "curl -uu:§ https://h.org": "curl -uu:* https://h.org",
    "curl --user u:§ https://h.org": "curl --user u:* https://h.org",
    "curl -U u:§ https://h.org": "curl -U u:* https://h.org",
    "curl --proxy-user u:§ h.org": "curl --proxy-user u:* h.org",
    "curl -b session=§ https://h.org": "curl -b session=* https://h.org",
    "curl https://u:§@h.org/x": "curl https://*@h.org/x",
    "curl https://h.org/x?token=§": "curl https://h.org/x?token=*",
    "curl https://h.org/x?key=§": "curl https://h.org/x?key=*",
    "curl https://h.org/x?sig=§": "curl https://h.org/x?sig=*",
    "curl https://h.org/x?X-Goog-Signature=§": "curl https://h.org/x?X-Goog-Signature=*",
    "lftp -u ada,§ h.org": "lftp -u ada,* h.org",
    "smbclient -U ada%§ //h/x": "smbclient -U ada%* //h/x",
    "sshpass -p § ssh -p 22 h": "sshpass -p * ssh -p 22 h",
    "sshpass -p§ ssh -p22 h": "sshpass -p* ssh -p22 h",
    "mysql -h h -p§ base": "mysql -h h -p* base",
    "mysqldump -p§ base": "mysqldump -p* base",
    "mongodump -u ada -p §": "mongodump -u ada -p *",
    "redis-cli -a § get x": "redis-cli -a * get x",
    "ldapsearch -x -w § base": "ldapsearch -x -w * base",
    "unzip -P § x.zip": "unzip -P * x.zip",
    "7z x -p§ x.7z": "7z x -p* x.7z",
    "sqlcmd -U ada -P §": "sqlcmd -U ada -P *",
    "twine upload -u ada -p § dist": "twine upload -u ada -p * dist",
    "openssl enc -pass pass:§": "openssl enc -pass *",
    f"wandb login {HEX[:40]}": "wandb login *",
    f"wandb login --relogin {HEX[:40]}": "wandb login --relogin *",
    f"vault login {m(24)}": "vault login *",
    "ngrok authtoken §": "ngrok authtoken *",
    "npm config set //r.org/:_authToken=§": "npm config set //r.org/:_authToken=*",
    "aws configure set aws_secret_access_key §": "aws configure set aws_secret_access_key *",
    "git config user.password §": "git config user.password *",
    "AccountKey=§;Endpoint=x": "AccountKey=*;Endpoint=x",
}

# What is no command line, but stands in logs, scripts and messages: what is left of it.
TEXTS: dict[str, str] = {
    "os.environ['HF_TOKEN']='§'": "os.environ['HF_TOKEN']='*'",
    'os.environ["HF_TOKEN"] = "§"; x()': 'os.environ["HF_TOKEN"] = "*"; x()',
    'os.environ.setdefault("HF_TOKEN", "§")': 'os.environ.setdefault("HF_TOKEN", "*")',
    'login(token="§", x=1)': 'login(token="*", x=1)',
    'wandb.login(key="§")': 'wandb.login(key="*")',
    "Client(api_key='§')": "Client(api_key='*')",
    "get(url, auth=('ada', '§'))": "get(url, auth=('ada', '*'))",
    '{"password": "§", "a": 1}': '{"password": "*", "a": 1}',
    '{\\"token\\": \\"§\\", \\"a\\": 1}': '{\\"token\\": \\"*\\", \\"a\\": 1}',
    "{'token': '§'}": "{'token': '*'}",
    '["--token", "§"]': '["--token", "*"]',
    "token: §": "token: *",
    "- api_key: §\n- b: 2": "- api_key: *\n- b: 2",
    'token = "§"\nb = 2': 'token = "*"\nb = 2',
    "password = §\nb = 2": "password = *\nb = 2",
    "<password>§</password>": "<password>*</password>",
    "Password=§;Server=h": "Password=*;Server=h",
    "machine h login ada password §": "machine h login ada password *",
    "ENV HF_TOKEN §": "ENV HF_TOKEN *",
    '$env:HF_TOKEN = "§"': '$env:HF_TOKEN = "*"',
    "Authorization: Bearer §": "Authorization: Bearer *",
    "Authorization: Basic §": "Authorization: Basic *",
    "-H 'Authorization: token §' x": "-H 'Authorization: token *' x",
    "-H 'Cookie: session=§; a=b' x": "-H 'Cookie: *' x",
    "Set-Cookie: session=§; Path=/": "Set-Cookie: *",
    "-H 'X-Api-Key: §' x": "-H 'X-Api-Key: *' x",
    "-H 'X-Auth-Token: §' x": "-H 'X-Auth-Token: *' x",
    "jdbc:postgresql://h/b?user=a&password=§": "jdbc:postgresql://h/b?user=a&password=*",
    "host=h user=ada password=§ dbname=b": "host=h user=ada password=* dbname=b",
    "bash -c 'train --token § --x 1' y": "bash -c 'train --token * --x 1' y",
    "'--api-key=§' -p x 'a b'": "'--api-key=*' -p x 'a b'",
    "'--api-key=§'\"'\"'s' -p x 'a b'": "'--api-key=*' -p x 'a b'",
    "'--token=§' -p x '--name=a b' -q": "'--token=*' -p x '--name=a b' -q",
}

STAY = (
    *("--max-tokens 5", "--tokens 5", "tokens=100000", "--tokenizer x", "--tokenizer=bert-base-v2"),
    *("--token-file x.txt", "--password-file=/run/x", "--password-stdin", "docker login --password-stdin"),
    *("--sort-key name", "sort --key=2", "sort --key 2", "--primary-key=id", "--key=name", "PRIMARY_KEY=id"),
    *("-p 8080", "ssh -p 22 h", "docker run -p 8080:80 x", "docker -u 1000:1000", "git log -p", "git log -p -u"),
    *("mysql -p base", "psql -p 5432", "mkdir -p a/b", "tar -xzf a.tar.gz", "sort -u x", "git push -u origin x"),
    *(f"git show {HEX[:40]}", f"git show {HEX[:64]}", f"x --commit {HEX[:12]}", f"docker pull x@sha256:{HEX[:64]}"),
    *("x 550e8400-e29b-41d4-a716-446655440000", "--session 550e8400-e29b-41d4-a716-446655440000"),
    *(f"x --data {MIXED[:100]}", "x --data SGVsbG8gd29ybGQhIHRoaXMgaXMgZGF0YQ=="),
    *("--token=$TOKEN", "--token ${TOKEN}", "TOKEN=$(cat f)", "--token <TOKEN>", "token=None", "use_token=true"),
    *("--private-key key.pem", "--credentials ~/x.json", "--cookie jar.txt", "--ssh-key ~/.ssh/id.pub"),
    *("--pat *.py", "--pattern a", "--path /x/y", "--seed 1234", "--session 3", "--auth basic", "--keys a,b"),
    *("--author 'Ada <a@b.org>'", "--authority x", "--secretary ada", "--passes 3", "--bypass x", "--compass n"),
    *("--lr 1e-4", "python train.py --model resnet50 --data imagenet1k", "pip install x==1.2.3", "a=b c=d"),
    *("git commit -m 'token and password rules'", "git checkout -b feature=x", "git checkout -b fix-2", "login -h"),
    *("gh auth login", "wandb login", "npm config set x 1", "--input.key=a", "curl -b cookies.txt h", "pass tests"),
)  # fmt: skip


def test_there_are_enough_forms() -> None:
    assert len(FORMS) + len(TEXTS) >= 105
    assert len(STAY) >= 70


@pytest.mark.parametrize("header", ["Authorization: Basic ", "Cookie: session=", "X-Api-Key: "])
def test_a_header_may_be_in_one_word_with_its_option(header: str) -> None:
    shown = redact_command(["curl", f"-H{header}{S}"])[1]
    assert shown.startswith(f"-H{header.split(': ')[0]}: ")
    assert (S in shown, MASK in shown) == (False, True)


@pytest.mark.parametrize("line", FORMS)
def test_a_secret_of_a_command_line_is_removed_and_nothing_else(line: str) -> None:
    left = FORMS[line].replace("*", MASK)
    real = line.replace("§", S)
    assert redact_command(real.split(" ")) == left.split(" ")
    assert redact(real) == left
    assert redact_command(["bash", "-c", real]) == ["bash", "-c", left]


@pytest.mark.parametrize("text", TEXTS)
def test_a_secret_of_a_text_is_removed_and_nothing_else(text: str) -> None:
    assert redact(text.replace("§", S)) == TEXTS[text].replace("*", MASK)


@pytest.mark.parametrize("line", STAY)
def test_what_only_looks_like_a_secret_stays(line: str) -> None:
    assert redact(line) == line
    words = shlex.split(line)
    assert redact_command(words) == words
