mod any;
mod calls;
mod epoll;
mod peer;
mod pipes;
mod poll;
