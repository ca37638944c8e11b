"""
Where has the model seen no data?
=================================

Text.
"""

import matplotlib.pyplot as plt

plt.plot([1, 2])
