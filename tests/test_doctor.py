from pathlib import Path

from transect import doctor


def test_this_installation_is_sound(tmp_path):
    found = {item.what: item for item in doctor.examine(tmp_path)}
    assert found["torch"].state in {"ok", "note"}
    assert found["weights"].state == "ok"


def test_two_opencv_wheels_are_a_fault(monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: "4.10")
    (finding,) = doctor._opencv()
    assert finding.state == "fault"
    assert "uninstall" in finding.text


def test_spinning_threads_are_a_fault(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert doctor._threads().state == "fault"


def test_a_full_disk_is_a_fault(monkeypatch):
    class Usage:
        free = 2**30

    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: Usage)
    assert doctor._disk(Path()).state == "fault"
