"""Stock clients of the Open Inference Protocol, in processes of their own."""
