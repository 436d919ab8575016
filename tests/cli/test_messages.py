"""Foreign words stay on their line and print no escape sequence; of several processes one prints."""

from transflow.cli.messages import fail, printable, say

FOREIGN = "a\nb\r\x1b[31m\x00\x7f\x85\u2028\u202e\udc80"


def test_control_characters_become_escapes_and_other_letters_stay():
    assert printable(FOREIGN) == r"a\nb\r\x1b[31m\x00\x7f\x85\u2028\u202e\udc80"
    assert printable("Ж 写真 é\u200d 'x' \\n") == "Ж 写真 é\u200d 'x' \\n"


def test_a_result_and_an_error_are_one_line_each(capsys):
    say(FOREIGN)
    assert fail(f"Expected this; got that: {FOREIGN}") == 2
    out, err = capsys.readouterr()
    assert out == printable(FOREIGN) + "\n"
    assert err == f"transflow: error: Expected this; got that: {printable(FOREIGN)}\n"


def test_the_first_of_several_processes_prints_the_error(monkeypatch, capsys):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    for rank, lines in {"0": 1, "1": 0}.items():
        monkeypatch.setenv("RANK", rank)
        assert fail("Expected this; got that.") == 2
        assert capsys.readouterr().err.count("\n") == lines


def test_names_with_control_characters_keep_the_table_and_the_notes_whole(run, folder, model_file):
    (folder / "00.png").rename(folder / "\x1b[31m\n.png")
    (folder / "z\ny.png").write_bytes(b"")
    status, out, err = run("score", folder, "-m", model_file, "--skip-bad")
    assert status == 0
    assert len(out.splitlines()) == 13
    assert r"\x1b[31m\n.png" in out
    assert [line.split(":")[1] for line in err.splitlines()] == [" skipped"]
    assert r"z\ny.png" in err
    status, out, err = run("score", folder, "-m", model_file)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
