// Reads what a plugin's file says of itself, without running anything of it.
#pragma once

#include <string>
#include <string_view>

namespace collie {

// The engine_interface() (base/engine_identity.hpp) that the plugin in `bytes`, a shared library, was
// compiled against: the descriptor of the ELF note that COLLIE_PLUGIN (base/plugin.hpp) makes. Throws
// UserError, with `where` in front, if the bytes are no shared library of this kind of machine or have no
// such note.
std::string interface_of_plugin(std::string_view bytes, const std::string& where);

}  // namespace collie
