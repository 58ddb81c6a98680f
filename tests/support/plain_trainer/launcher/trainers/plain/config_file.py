"""The config as a file: rows and template each have one key."""

from __future__ import annotations

from launcher.rules.base import Config
from launcher.trainers.config_file import ConfigFile


class PlainFile(ConfigFile[Config]):
    train_key, eval_key, template_key = "train_file", "eval_file", "chat_template"

    def is_chat(self, c: Config) -> bool:
        return c.has("chat_template")


CONFIG_FILE = PlainFile()
