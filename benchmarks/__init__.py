"""Where every claim about speed comes from. Ratios, interleaved in one run, medians: the machines are shared."""
