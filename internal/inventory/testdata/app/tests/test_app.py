from transformers import pipeline


def test_sentiment():
    classify = pipeline("sentiment-analysis", model="distilbert/distilbert-base-uncased-finetuned-sst-2-english")
    assert classify("fine")
