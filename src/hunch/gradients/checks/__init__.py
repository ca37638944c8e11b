"""What is looked at before and after: costs, masks, distributions, and where gradients flow."""
