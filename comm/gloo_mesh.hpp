// How the ranks of a Gloo link find and reach each other. Internal to the link.
#pragma once

#include <gloo/rendezvous/context.h>
#include <gloo/transport/tcp/device.h>

#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "comm/gloo_link.hpp"

namespace collie::comm {

struct GlooMesh {
  std::shared_ptr<gloo::rendezvous::Context> context;    // connected with all other ranks
  std::shared_ptr<gloo::transport::tcp::Device> device;  // whose thread moves its traffic
  std::vector<std::string> addresses;                    // [ranks]
};

// Blocks until all ranks are connected with each other; errors are those of connect_gloo().
GlooMesh connect_gloo_mesh(const GlooOptions& options, KeyStore& store);

// What a Gloo exception says, without the place in Gloo's sources.
std::string reason_of_gloo(const std::exception& error);

}  // namespace collie::comm
