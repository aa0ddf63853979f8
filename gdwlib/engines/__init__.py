"""Other ways to make a learner's passes: seeds as one network, a CUDA graph, several processes."""
