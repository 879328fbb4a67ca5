"""Networks that others made: shipped packages' built again as graphs of ours (`blazeface`, `faceapi`), users' files wrapped (`adopted`)."""
