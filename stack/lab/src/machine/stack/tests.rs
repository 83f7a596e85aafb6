mod calls;
mod peer;
