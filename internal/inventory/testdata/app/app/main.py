import chromadb
from openai import OpenAI

from app import models, settings

SYSTEM = "You answer questions about the handbook."


def answer(question):
    client = OpenAI()
    store = chromadb.Client()
    models.embedder()
    models.Ranker()
    models.pinned()
    models.questions()
    print(store, models.writer())
    reply = client.chat.completions.create(
        model=settings.CHAT_MODEL,
        messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}],
    )
    return reply.choices[0].message.content


if __name__ == "__main__":
    print(answer("How many days of leave are there?"))
