// The pieces that this host program adds to the engine: a loss, an optimizer and a callback, each under a
// name.
#pragma once

namespace embed {

// Registers "label_smoothing", "momentum" and "good_enough". Call it before a run is planned.
void register_pieces();

}  // namespace embed
