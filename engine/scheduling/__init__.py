"""Queues, worker threads, cores per run, batches and tuning."""
