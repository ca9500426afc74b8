"""The Presidio side of `cargo xtask bench pii`: pattern recognisers on a blank spaCy pipeline.

Reads {"text"} lines, analyses all of them `rounds` times, prints seconds of each round as JSON.
The pipeline is blank because no model can be downloaded where this runs; names are therefore not
compared, and the figure is that of the pattern recognisers alone.
"""

import json
import sys
import time

import spacy
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import SpacyNlpEngine


class Blank(SpacyNlpEngine):
    """A pipeline that only cuts into tokens."""

    def load(self):
        self.nlp = {"en": spacy.blank("en")}

    def is_loaded(self):
        return self.nlp is not None


def main():
    rounds = int(sys.argv[1])
    texts = [json.loads(line)["text"] for line in sys.stdin]
    engine = Blank(models=[{"lang_code": "en", "model_name": "blank"}])
    engine.load()
    analyzer = AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])
    # Warm-up: the first call reads lists and compiles patterns.
    analyzer.analyze(texts[0], language="en", score_threshold=0.4)
    seconds, found = [], 0
    for _ in range(rounds):
        start = time.perf_counter()
        found = sum(len(analyzer.analyze(t, language="en", score_threshold=0.4)) for t in texts)
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds, "found": found}))


main()
