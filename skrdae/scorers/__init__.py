"""How members score rows: each a frozen object with what scoring needs beside the networks."""
