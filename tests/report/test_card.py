from transect.report.card import model_card


def test_sections_stand_in_their_order_and_empty_ones_do_not():
    text = model_card(
        "Lions",
        {
            "own_words": "x",
            "scores": [{"metric": "RMSE", "value": 8.43215}, {"metric": "MAE", "spread": 0.1}],
            "use": "Counting.",
            "limits": [],
            "licences": ["encoder: Apache-2.0"],
            "reproduce": "transect train lions",
        },
        summary="Counts lions.",
    )
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        "## What it is for",
        "## Scores",
        "## Licences",
        "## To repeat it",
        "## Own words",
    ]
    assert "| RMSE | 8.432 | - |" in text
    assert "- encoder: Apache-2.0" in text
    assert "```\ntransect train lions\n```" in text


def test_names_cannot_become_markup():
    text = model_card("<b>x</b>", {"data": {"a|b": "[x](http://evil)", "c": "![i](j)\nd"}})
    assert "<b>" not in text
    assert "](" not in text.replace("\\](", "")
    assert "a\\|b" in text
