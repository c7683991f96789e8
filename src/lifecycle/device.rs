//! Signing in with a code (RFC 8628): when a code is asked for, when the server is asked whether it was entered, and when it is given up.
//!
//! It begins on request only, by `emailasset.dev/sign-in`; each pass asks at most once, and never before the server's interval is over.

use jiff::Timestamp;

use super::{
    facts::binding_to,
    step::Step,
    world::{Activity, DeviceAuthorization, Plan, SignInBy, World},
};

/// The code that is under way for this asset as it is now.
pub(super) fn pending<'a>(world: &'a World, plan: &Plan) -> Option<&'a DeviceAuthorization> {
    let by_device = matches!(&plan.names.sign_in, Some(way) if way.by == SignInBy::Device);
    let device = world.grant.ours()?.device.as_ref()?;
    by_device.then_some(device)
}

/// The step that a sign-in with a code wants now.
pub(super) fn step(world: &World, plan: &Plan, client: &str, now: Timestamp) -> Option<Step> {
    if world.activity == Activity::Suspended {
        return None;
    }
    let binding = binding_to(plan, client);
    if let Some(begun) = world.grant.ours().and_then(|grant| grant.device.as_ref()) {
        let Some(device) = pending(world, plan).filter(|device| device.binding == binding) else {
            return Some(Step::DropDevice);
        };
        if is_requested(world, plan) && world.sign_in_request.as_ref() != Some(&begun.request) {
            return Some(Step::BeginDevice(binding));
        }
        if now >= device.expires {
            return Some(Step::DropDevice);
        }
        return (now >= world.device_due).then_some(Step::PollDevice(binding));
    }
    is_requested(world, plan).then_some(Step::BeginDevice(binding))
}

/// When a sign-in with a code wants to be looked at again.
pub(super) fn wake(world: &World, plan: &Plan) -> Option<Timestamp> {
    let device = pending(world, plan).filter(|_| world.activity == Activity::Active)?;
    Some(device.expires.min(world.device_due))
}

fn is_requested(world: &World, plan: &Plan) -> bool {
    let by_device = matches!(&plan.names.sign_in, Some(way) if way.by == SignInBy::Device);
    let handled = world.status.handled_requests.as_ref();
    let handled = handled.and_then(|handled| handled.sign_in.as_ref());
    by_device && world.sign_in_request.is_some() && world.sign_in_request.as_ref() != handled
}
