import os

CHAT_MODEL = os.getenv("CHAT_MODEL", "gpt-4o-mini")
EMBEDDER = os.environ.get("EMBEDDER", "BAAI/bge-small-en-v1.5")
CHOICES = {"small": "Qwen/Qwen3-0.6B", "large": "Qwen/Qwen3-8B"}
