# Torch: modules, optimizers and tensors that share storage, updated in place.

# %%
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
first_layer = net[0]
weights = net[0].weight
x = torch.linspace(-1, 1, 40).reshape(10, 4)
y = x.sum(dim=1, keepdim=True)
sum(p.numel() for p in net.parameters())

# %%
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
loss_fn = nn.MSELoss()
losses = []


def train(steps):
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_fn(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(round(loss.item(), 4))


train(3)
losses

# %%
# The optimizer must still drive the same parameters.
train(5)
print(losses[-1] < losses[0], len(losses))
print(first_layer.weight is weights, net[0] is first_layer, optimizer.param_groups[0]["params"][0] is weights)

# %%
before = weights.detach().clone()
train(1)
bool((weights != before).any()), weights.requires_grad, weights.grad is not None

# %%
with torch.no_grad():
    weights.zero_()
    net[2].bias += 1.0
net.eval()

# %%
net.training, float(first_layer.weight.abs().sum()), net[2].bias

# %%
base = torch.arange(12.0)
matrix = base.view(3, 4)
turned = matrix.t()
tail = base[6:]

# %%
base.mul_(2)
tail[0] = -1
matrix

# %%
turned[3, 2] = 99
print(base, turned.stride(), turned.is_contiguous(), base.data_ptr() == matrix.data_ptr())
matrix.untyped_storage().data_ptr() == tail.untyped_storage().data_ptr()

# %%
import numpy as np

array = np.zeros(3, dtype=np.float32)
over = torch.from_numpy(array)
over += 5
array

# %%
array[0] = -1
over, over.numpy() is not None

# %%
leaf = torch.tensor([1.0, 2.0], requires_grad=True)
(leaf**2).sum().backward()
leaf.grad

# %%
leaf.grad.zero_()
(leaf * 3).sum().backward()
leaf, leaf.grad, leaf.is_leaf


# %%
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.tied = nn.Linear(3, 3, bias=False)
        self.other = nn.Linear(3, 3, bias=False)
        self.other.weight = self.tied.weight
        self.register_buffer("running", torch.zeros(3))
        self.calls = 0

    def forward(self, v):
        self.calls += 1
        self.running += v.detach().mean(0)
        return self.other(torch.relu(self.tied(v)))


torch.manual_seed(1)
block = Block()
out = block(torch.ones(2, 3))
out.shape, block.calls, block.running

# %% same side
out.sum().backward()
block.tied.weight.grad

# %%
del out
block.zero_grad()
block(torch.ones(2, 3))
block.other.weight is block.tied.weight, block.calls, block.running, len(list(block.parameters()))

# %%
state = block.state_dict()
with torch.no_grad():
    block.tied.weight.fill_(0.5)
state["tied.weight"][0], sorted(state)

# %%
fresh = Block()
fresh.load_state_dict(state)
torch.equal(fresh.tied.weight, block.tied.weight), fresh.calls

# %%
adam = torch.optim.Adam(block.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.StepLR(adam, step_size=1, gamma=0.5)
block(torch.ones(1, 3)).sum().backward()
adam.step()
scheduler.step()
adam.param_groups[0]["lr"]

# %%
adam.zero_grad()
block(torch.ones(1, 3)).sum().backward()
adam.step()
scheduler.step()
scheduler.optimizer is adam, adam.param_groups[0]["lr"], adam.state[block.tied.weight]["step"]

# %%
generator = torch.Generator().manual_seed(5)
torch.rand(2, generator=generator)

# %%
torch.rand(2, generator=generator)

# %%
data = torch.utils.data.TensorDataset(x, y)
loader = torch.utils.data.DataLoader(data, batch_size=4)
[tuple(b[0].shape) for b in loader]

# %%
half, whole = torch.ones(2, dtype=torch.bfloat16), torch.tensor([[1, 2], [3, 4]], dtype=torch.int8)
sparse = torch.eye(3).to_sparse()
half.add_(1)
print(half, whole.t(), sparse.to_dense().sum(), torch.tensor(True), torch.empty(0))

# %%
parameter = nn.Parameter(torch.zeros(2))
holder = {"p": parameter}
with torch.no_grad():
    parameter += 3

# %%
holder["p"] is parameter, parameter, isinstance(holder["p"], nn.Parameter)

# %%
x @ torch.zeros(3)
