"""What may be called how: rules that settings and routes check before anything is loaded."""

import re

# Of a model.
MODEL_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
