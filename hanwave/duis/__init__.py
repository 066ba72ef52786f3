"""DUIS Service Requests, responses and alerts as typed objects to and from signed XML: pure."""
