# SPDX-License-Identifier: Apache-2.0
#
# Installs the program, the client library, and what find_package(muster CONFIG)
# reads. Strangers see muster::client and muster::messages; the other archives
# are what these are made of.

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/muster")
set(public_headers
  app/client/client.hpp
  app/client/client_config.hpp
  app/client/connect_node.hpp
  app/client/find_node.hpp
  app/client/node_location.hpp
  messages/actors.hpp
  messages/atoms.hpp
  messages/caf_support.hpp
  messages/errors.hpp
  messages/history.hpp
  messages/ids.hpp
  messages/interface.hpp
  messages/persistence.hpp
  messages/receipt.hpp
  messages/scope.hpp
  messages/session.hpp
  messages/pod.hpp
  messages/pool.hpp
  messages/recovery.hpp
  messages/strategy.hpp)

install(TARGETS muster)

foreach(part client messages connection process)
  set_target_properties(muster_${part} PROPERTIES EXPORT_NAME ${part})
  target_include_directories(muster_${part} INTERFACE
    "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
  install(TARGETS muster_${part} EXPORT musterTargets)
endforeach()
install(EXPORT musterTargets NAMESPACE muster:: DESTINATION "${package_dir}")

# Strangers include <muster/...>; here the folders of the source tree count.
install(CODE "
  set(SOURCE \"${CMAKE_CURRENT_SOURCE_DIR}\")
  set(HEADERS \"${public_headers}\")
  set(TO \"${CMAKE_CURRENT_BINARY_DIR}/installed/muster\")")
install(SCRIPT cmake/install_headers.cmake)
install(DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/installed/muster"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")

configure_package_config_file(cmake/musterConfig.cmake.in
  "${CMAKE_CURRENT_BINARY_DIR}/generated/musterConfig.cmake"
  INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file(
  "${CMAKE_CURRENT_BINARY_DIR}/generated/musterConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES
  "${CMAKE_CURRENT_BINARY_DIR}/generated/musterConfig.cmake"
  "${CMAKE_CURRENT_BINARY_DIR}/generated/musterConfigVersion.cmake"
  cmake/FindCAF.cmake
  DESTINATION "${package_dir}")
