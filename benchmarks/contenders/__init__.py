"""One small module for each contender; ``benchmarks.contender.CONTENDERS`` names them all."""
