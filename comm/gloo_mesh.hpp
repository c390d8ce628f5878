// The rendezvous and connection of the ranks of a Gloo link. Internal to the link.
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
  std::shared_ptr<gloo::transport::tcp::Device> device;  // its thread moves the traffic
  std::vector<std::string> addresses;                    // [ranks]
};

// Blocks until all ranks are connected with each other. Its errors are those of connect_gloo().
GlooMesh connect_gloo_mesh(const GlooOptions& options, KeyStore& store);

// Returns what a Gloo exception says, without the place in Gloo's sources.
std::string reason_of_gloo(const std::exception& error);

}  // namespace collie::comm
