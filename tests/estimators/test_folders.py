"""Folders of pictures, classified by the evidence of another folder."""

import numpy as np
import pytest
import torch
from PIL import Image

from transflow import FewShotClassifier
from transflow.cli import main
from transflow.estimators.folders import Evaluation, classify
from transflow.pictures import grids as figures


def test_folders_on_the_command_line(folders, model_file, capsys, monkeypatch):
    monkeypatch.chdir(folders)
    light = next((folders / "query" / "light").iterdir())
    (folders / "query" / "dark" / "wrong.png").write_bytes(light.read_bytes())  # an error of one direction
    words = ["classify", "support", "query", "-m", str(model_file), "-o", "p.csv", "--confusion", "c.png"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "transflow " in printed
    assert "nearest neighbour in pixels" in printed
    lines = (folders / "p.csv").read_text().splitlines()
    assert lines[0] == "picture,class,rejected,p_value,truth,p(dark),p(light)"
    assert len(lines) == 8
    counts = torch.zeros(2, 2, dtype=torch.long)
    for line in lines[1:]:
        _, predicted, _, _, true, *_ = line.split(",")
        counts[int(true == "light"), int(predicted == "light")] += 1
    assert counts.tolist() == [[3, 1], [0, 3]]
    assert np.array_equal(np.asarray(Image.open("c.png")), np.asarray(figures.confusion(counts, ("dark", "light"))))
    (folders / "query" / "dark").rename(folders / "query" / "other")
    assert main([*words[:-2], "--no-augment"]) == 0
    assert "nearest" not in capsys.readouterr().out
    assert main(["classify", "query/light", "query", "-m", str(model_file), "-o", "p.csv"]) == 2
    assert "sub-folders, one a class" in capsys.readouterr().err


def test_a_folder_is_evidence_by_itself(folders, model):
    classifier = FewShotClassifier(model).fit(folders / "support")
    assert classifier.classes_.tolist() == ["dark", "light"]
    found = classify(model, str(folders / "support"), str(folders / "query"), augment=False)
    assert found.accuracies["transflow"] == 1
    assert found.confusion().tolist() == [[3, 0], [0, 3]]


def evaluation(truth=("a", "a", "a", "b", "b"), p_values=(0.5, 0.004, 0.02, 0.9, 1.0)):
    likely = torch.tensor([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.4, 0.6], [0.1, 0.9]], dtype=torch.float64)
    p = None if p_values is None else torch.tensor(p_values, dtype=torch.float64)
    return Evaluation(tuple("vwxyz"), ("a", "b"), likely, p, truth, {}, None, None)


def test_confusion_has_true_classes_in_rows():
    assert evaluation().predicted == ["a", "b", "b", "b", "b"]
    assert evaluation().confusion().tolist() == [[1, 2], [0, 2]]
    with pytest.raises(ValueError, match="classes are known"):
        evaluation(truth=None).confusion()


def test_the_table_has_predictions_truth_and_rejections_in_their_columns():
    rows = [line.split(",") for line in evaluation().csv(0.01).decode().splitlines()]
    assert rows[0] == ["picture", "class", "rejected", "p_value", "truth", "p(a)", "p(b)"]
    assert rows[2] == ["w", "b", "1", "0.004", "a", "0.300000", "0.700000"]
    assert [row[2] for row in rows[1:]] == ["0", "1", "0", "0", "0"]
    assert evaluation().rejected(0.05) == [False, True, True, False, False]
    plain = [line.split(",") for line in evaluation(None, None).csv(0.01).decode().splitlines()]
    assert plain[2] == ["w", "b", "0", "", "", "0.300000", "0.700000"]
    with pytest.raises(ValueError, match="between 0 and 1"):
        evaluation().rejected(1.0)


def test_accuracies_are_shares_of_all_pictures(folders, model):
    light = next((folders / "query" / "light").iterdir())
    (folders / "query" / "dark" / "wrong.png").write_bytes(light.read_bytes())
    found = classify(model, folders / "support", folders / "query", augment=False)
    correct = [true == predicted for true, predicted in zip(found.truth, found.predicted, strict=True)]
    assert found.accuracies["transflow"] == np.mean(correct) == 6 / 7
    assert set(found.accuracies) == {"transflow", "nearest centroid in pixels", "nearest neighbour in pixels"}
    single = classify(model, folders / "support", next((folders / "query" / "dark").iterdir()), augment=False)
    assert single.truth is None
    assert single.accuracies == {}
