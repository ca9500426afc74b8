//! Where the rooms are joined: each file gives one stage what it asks for through a port.

pub mod control;
pub mod egress;
pub mod gateway;
pub mod record;
pub mod respond;
pub mod store;
