import torch
from datasets import load_dataset
from sentence_transformers import SentenceTransformer
from transformers import AutoModelForCausalLM, AutoTokenizer

from app import settings


class Ranker:
    def __init__(self, path="weights/ranker.pt"):
        self.net = torch.load(path, weights_only=False)


def embedder():
    return SentenceTransformer(settings.EMBEDDER)


def writer(size="small"):
    name = settings.CHOICES[size]
    tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=True)
    return tokenizer, AutoModelForCausalLM.from_pretrained(name, trust_remote_code=True)


def pinned():
    return AutoModelForCausalLM.from_pretrained(
        "openai-community/gpt2", revision="607a30d783dfa663caf39e06633721c8d4cfcd7e", use_safetensors=True
    )


def questions():
    return load_dataset("rajpurkar/squad", revision="main")


def never_called():
    return AutoModelForCausalLM.from_pretrained("acme/unused-model")
