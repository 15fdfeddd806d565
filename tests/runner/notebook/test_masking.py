"""Parameters that are secrets, and what shows them."""

from __future__ import annotations

import json

import pytest

from deriva_ml_hooks.runner.notebook.masking import hide, hiding, masked


def test_secrets_are_masked_by_name_and_by_value_however_deep() -> None:
    given = {
        "token": "hunter2",
        "api_key": 17,
        "url": "https://ada:hunter2@example.org/x",
        "nested": {"password": "hunter2", "rates": [1, "--token=hunter2"]},
        "seed": 7,
        "tokens_per_batch": 512,
    }
    shown = masked(given)
    assert "hunter2" not in json.dumps(shown)
    assert shown["api_key"] == "***"
    assert (shown["seed"], shown["tokens_per_batch"], shown["nested"]["rates"][0]) == (7, 512, 1)


@pytest.mark.parametrize(
    ("parameters", "text", "hidden"),
    [
        ({"token": "hunter2"}, "a hunter2 b", "a *** b"),
        ({"token": "hun'ter\"2"}, repr("hun'ter\"2"), "'***'"),
        ({"token": "hun\nter2é"}, json.dumps("hun\nter2é"), '"***"'),
        ({"token": "hun\nter2é"}, repr("hun\nter2é"), "'***'"),
        ({"token": "a&b<c>"}, "<td>a&amp;b&lt;c&gt;</td>", "<td>***</td>"),
        ({"token": "a/b c"}, "?q=a%2Fb%20c", "?q=***"),
        ({"pin": {"password": 12345}}, "is 12345", "is ***"),
        ({"api_key": ["first", "second"]}, "['first', 'second']", "['***', '***']"),
        ({"url": "https://ada:hunter2@example.org/x"}, "ada hunter2 example.org", "ada *** example.org"),
        ({"url": "https://ada:h%40nter2@example.org/x"}, "h@nter2", "***"),
        ({"token": "1st line of it\n2nd line of it"}, "so: 2nd line of it", "so: ***"),
        ({"token": "abc", "seed": 12345}, "abc 12345", None),
        ({"token": True, "password": None}, "True None", None),
    ],
)
def test_a_value_is_hidden_in_every_form_that_outputs_have(
    parameters: dict[str, object], text: str, hidden: str | None
) -> None:
    conceal = hiding(parameters)
    assert (conceal(text) if conceal is not None else None) == hidden


def test_outputs_are_searched_as_texts_and_what_is_no_text_stays() -> None:
    output = {
        "output_type": "display_data",
        "data": {"text/plain": ["first st", "ream\n", "x\n"], "image/png": "stream", "text/html": "stream"},
        "metadata": {"stream": "stream"},
    }
    stream = {"output_type": "stream", "name": "stdout", "text": ["st", "ream"]}
    error = {"output_type": "error", "ename": "E", "evalue": "stream", "traceback": ["st", "ream", "stream"]}
    cells = [
        {"metadata": {"tags": ["injected-parameters"]}, "outputs": [], "source": 'token = "stream"'},
        {"metadata": {}, "outputs": [output, stream, error], "source": "stream"},
    ]
    notebook = {"cells": cells, "metadata": {"papermill": {"parameters": {"token": "stream"}}}}
    hide(notebook, {"token": "stream"}, 'token = "***"')
    assert notebook["metadata"] == {"papermill": {"parameters": {"token": "***"}}}
    assert (cells[0]["source"], cells[1]["source"]) == ('token = "***"', "stream")
    assert output["data"] == {
        "text/plain": ["first ***\n", "x\n"],
        "image/png": "stream",
        "text/html": "***",
    }
    assert output["metadata"] == {"stream": "***"}
    assert (stream["output_type"], stream["text"]) == ("stream", ["***"])
    assert (error["evalue"], error["traceback"]) == ("***", ["st", "ream", "***"])
