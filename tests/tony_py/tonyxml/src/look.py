"""What a task finds in its working folder, said where the test looks."""

import json
import os
from pathlib import Path

NAMES = ("settings.json", "words.txt", "tables/films.csv", "rules.jar", "look.py", "venv/Python/bin/python")
found = {name: Path(name).read_text().strip() for name in NAMES[:4]} | {
    name: Path(name).is_file() for name in NAMES[4:]
}
Path(os.environ["SEEN"], f"look-{os.environ['TASK_INDEX']}.json").write_text(json.dumps(found))
