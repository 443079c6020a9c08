"""Looking for the best values of a recipe's fields, with Optuna; on several machines with Ray."""
