"""Models that learn from real data: one lesson always, all of them on both devices when slow tests run."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from openxpu.certify import learning

LESSONS = {lesson.name: lesson for lesson in learning.LESSONS}


def test_a_table_is_learned_on_the_card(paddle_xpu: ModuleType) -> None:
    pytest.importorskip("sklearn")
    lesson = LESSONS["table"]
    found = learning.learned(lesson, "xpu")
    assert found["score"] >= lesson.enough
    labels = lesson.data()[1]["label"]
    assert found["score"] > max(labels.mean(), 1 - labels.mean()) + 0.2  # better than one answer for all


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", LESSONS)
def test_both_devices_learn(name: str, paddle_xpu: ModuleType) -> None:
    lesson = LESSONS[name]
    card, cpu = (learning.learned(lesson, device)["score"] for device in ("xpu", "cpu"))
    assert card >= lesson.enough
    assert cpu >= lesson.enough
    assert abs(card - cpu) < 0.05


def test_what_is_tested_on_is_not_learned_from() -> None:
    pytest.importorskip("matplotlib")
    seen, unseen = learning._fonts()
    assert all(font.is_file() for font in (*seen, *unseen))
    assert not {font.name for font in seen} & {font.name for font in unseen}
    learn, test = learning._shares()
    # No month that is forecast in the test was learned from, neither as past nor as future.
    known = {
        tuple(row) for part in learn.values() for window in np.diff(part, axis=1) for row in window.round(6)
    }
    asked = {tuple(row) for window in np.diff(test["future"], axis=1) for row in window.round(6)}
    assert len(known) > 100 < len(asked) + 100
    assert not known & asked
    assert learn["past"].shape[1:] == test["past"].shape[1:] == (96, 7)
    assert np.abs(learn["past"][:, -1]).max() == 0


def test_letters_right_are_counted_by_edits() -> None:
    test = {"letters": np.array([[1, 2, 3, 0], [4, 4, 0, 0]]), "length": np.array([3, 2])}
    places = np.array([[1, 1, 0, 2, 3, 3], [0, 4, 0, 4, 4, 0]])
    assert learning._read_score(places, test) == 1
    assert learning._read_score(np.array([[1, 0, 0, 3, 0, 0], [4, 4, 4, 0, 0, 0]]), test) == pytest.approx(
        1 - 2 / 5
    )
    assert learning._read_score(np.zeros((2, 6), int), test) == 0


def test_a_lesson_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert learning.main(["chess"]) == 2
    assert "There is no lesson chess; known are lines" in capsys.readouterr().err
