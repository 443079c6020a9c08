"""How much of its mIoU a model keeps on spoilt pictures, how sure it is, and how it flickers."""
