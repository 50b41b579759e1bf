//! What only the demo needs: a broker and a picture host of its own, and a folder it may empty.

mod broker;
mod folder;
mod pictures;

pub use broker::Broker;
pub use folder::prepare;
pub use pictures::PictureHost;
