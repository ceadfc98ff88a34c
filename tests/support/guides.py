"""The commands of a guide, as somebody types them who follows it from its beginning to its end."""

import re


def script_of(guide: str, language: str = "sh") -> str:
    """Return the fenced blocks of a language, one after the other, as one script."""
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", guide, re.MULTILINE | re.DOTALL))
