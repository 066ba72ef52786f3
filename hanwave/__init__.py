"""hanwave rolls firmware out, over the air, to Great Britain's smart-meter devices, and can prove what it did."""
