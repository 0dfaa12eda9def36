"""Adam on one flat buffer for all members of a stacked network."""

import torch


class MemberAdam:
    """Adam over all parameters of a network at once.

    On construction every parameter becomes a view of one flat buffer, and so do the gradients:
    a step is a handful of element-wise operations, whatever the number of layers and members.
    These are element-wise operations of one kind only, without fused kernels whose vectorised
    body and scalar tail round differently, so that a member's step does not depend on its place.

    Parameters
    ----------
    network : nn.Module
        Its parameters have the member axis first.
    lr : float
        Learning rate.

    References
    ----------
    D. P. Kingma and J. Ba, Adam: A Method for Stochastic Optimization, ICLR 2015.
    """

    _BETA1, _BETA2 = 0.9, 0.999
    # Far above the usual 1e-8. With that, Adam steps as far along a gradient that only a handful
    # of rows ever give as along one that all rows agree on, and so learns the anomalies first.
    # Gradients are those of a row's squared error, averaged over the batch.
    _EPS = 1e-2

    def __init__(self, network, lr):
        self.lr = lr
        self.n_steps = 0
        parameters = list(network.parameters())
        self._shapes = [p.shape for p in parameters]
        self._values = torch.cat([p.detach().reshape(-1) for p in parameters])
        self._grads = torch.zeros_like(self._values)
        self._mean = torch.zeros_like(self._values)
        # Not zero, so that squares of vanishing gradients add up to no denormal numbers, which
        # are slow. Nothing beside the 1e-2 that is added to the root.
        self._square = torch.full_like(self._values, 1e-30)
        self._scratch = torch.empty_like(self._values)
        for parameter, view in zip(parameters, self._views(self._values), strict=True):
            parameter.data = view
        self.grads = dict(zip(map(id, parameters), self._views(self._grads), strict=True))

    def _views(self, flat):
        sizes = [shape.numel() for shape in self._shapes]
        return [
            piece.view(shape) for piece, shape in zip(flat.split(sizes), self._shapes, strict=True)
        ]

    def grad_of(self, parameters):
        """Return the gradient buffers of the given parameters, in their order."""
        return [self.grads[id(p)] for p in parameters]

    def step(self):
        """Move the parameters by the gradients found in the buffers."""
        self.n_steps += 1
        correction1 = 1 - self._BETA1**self.n_steps
        root_correction2 = (1 - self._BETA2**self.n_steps) ** 0.5
        self._mean.lerp_(self._grads, 1 - self._BETA1)
        self._square.mul_(self._BETA2).addcmul_(self._grads, self._grads, value=1 - self._BETA2)
        # Both corrections are moved into the step's length and ε, which saves a pass.
        torch.sqrt(self._square, out=self._scratch).add_(self._EPS * root_correction2)
        length = -self.lr * root_correction2 / correction1
        self._values.addcdiv_(self._mean, self._scratch, value=length)

    def select(self, network, members):
        """Return the optimiser of `network`, made of some of this one's members."""
        other = MemberAdam(network, self.lr)
        other.n_steps = self.n_steps
        for mine, theirs in ((self._mean, other._mean), (self._square, other._square)):
            torch.cat([view[members].reshape(-1) for view in self._views(mine)], out=theirs)
        return other
