"""Other libraries' interfaces, each an optional extra and a module that is imported by its name.

- `hunch.adapters.sb3`: a policy that makes the DQN of Stable-Baselines3 a NoisyNet-DQN.
- `hunch.adapters.botorch`: a model for BoTorch that trains itself and draws Thompson paths.
"""
