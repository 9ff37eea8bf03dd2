"""Write the vectors of the background vocabulary into the folder of a built-in model.

    python tools/background_vectors.py seesay-base

Run it after the weights have changed: until then, first searches with the model embed 600 texts.
"""

import argparse

from seesay.inference.background import write_built_in
from seesay.inference.embedder import load
from seesay.weights.hub import locate

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    name = parser.parse_args().model
    write_built_in(load(name, device="cpu", dtype="float32"), locate(name).folder)
