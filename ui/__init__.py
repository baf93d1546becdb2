"""The Streamlit pages over the REST API."""
