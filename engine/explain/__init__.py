"""Heat maps: which parts of a picture a prediction rests on, by runs on pictures with parts hidden."""
