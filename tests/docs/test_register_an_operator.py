"""docs/register-an-operator.md runs as it stands: its Python as one program."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "register-an-operator.md"


def test_program(tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    (tmp_path / "gate.py").write_text("\n".join(blocks))
    command = [sys.executable, "gate.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Size([4, 1000]) paddle.Size([4, 1000]) 1" in done.stdout
    assert "[8, 64]" in done.stdout
    assert "[4., 4., 4.]" in done.stdout
