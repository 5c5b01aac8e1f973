"""The code of docs/triton.md runs as it stands, in one program."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "triton.md"


def test_page(tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 2
    program = tmp_path / "page.py"
    program.write_text("import openxpu.triton\n\nopenxpu.triton.register()\n" + "\n".join(blocks))
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
