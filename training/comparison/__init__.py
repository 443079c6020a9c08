"""One recipe trained with each of several losses or models, over several seeds, and what came of it."""
