"""Plain `nn.Module`s: generators' layers, encoders, and the small networks of the demo domain."""
