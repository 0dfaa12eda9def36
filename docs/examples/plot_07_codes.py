"""
Use the codes as features for a classifier
==========================================

``transform`` gives the codes of a detector: a few numbers for each row, learnt
without labels. Here a random forest recognises digits by them.
"""

# %%
# Ten numbers instead of 64 pixels
# --------------------------------

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from skrdae import RobustDeepAutoencoder
from skrdae.plotting import LatentSpaceDisplay

images, digits = load_digits(return_X_y=True)
images = images / 16
encoder = RobustDeepAutoencoder(
    hidden_layer_sizes=(64, 10),
    scaler=None,
    max_iter=10,
    n_epochs=5,
    n_estimators=1,
    random_state=0,
)
forest = RandomForestClassifier(50, random_state=0)
folds = StratifiedKFold(5, shuffle=True, random_state=0)
for name, pipeline in {
    "pixels": forest,
    "codes": make_pipeline(encoder, forest),
}.items():
    accuracy = cross_val_score(pipeline, images, digits, cv=folds).mean()
    n_columns = (
        images.shape[1] if name == "pixels" else encoder.hidden_layer_sizes[-1]
    )
    print(f"{name}: {n_columns} columns, accuracy {accuracy:.3f}")

# %%
# The codes in the plane
# ----------------------
#
# The first two principal components of the codes. The zeros lie together,
# although the network has seen no label.

codes = encoder.fit_transform(images)
LatentSpaceDisplay.from_predictions(
    codes, digits == 0, kinds=("other digits", "zeros")
)
plt.show()
