"""The lab: a run's rounds without chain and network, with trainers and validators that cheat.

Training, codec, fast checks, scores, similarity, weights, consensus, pay, aggregation and state are those of a run; the
lab adds who cheats and how (`attacks`), what else could decide (`defences`), and what came of it (`figures`).
"""
