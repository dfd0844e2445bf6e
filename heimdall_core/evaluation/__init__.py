"""How good a model is: metrics, baselines, pictures, and the report that holds them."""
